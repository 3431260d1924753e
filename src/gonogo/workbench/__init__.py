"""`gonogo workbench`: a project's six steps as pages, and as a control API, over the functions that the commands call.

It needs the extras `pipeline` and `serve` and runs in the project's folder. Pages, sign-in and design are those of
`gonogo.service.pages`; nothing of the service imports this room.
"""
