"""The files of the page. This is a package so that they are installed."""
