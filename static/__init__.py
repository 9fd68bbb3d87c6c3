"""The page's files. A package only so that they are installed with the others."""
