"""The six steps as pages, made as `gonogo.service.pages` says; all need a key with the role admin."""
