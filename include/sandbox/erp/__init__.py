"""The demo ERP: the application that the shipped release plan releases, as three versions of one source."""
