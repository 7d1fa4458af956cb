"""The stages of dvc.yaml, one thin file each: read params and files, call the modules, write files."""
