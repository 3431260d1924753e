"""The routes of the service, by the things that they are about; `router` puts them together."""
