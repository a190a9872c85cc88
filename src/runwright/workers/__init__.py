"""Several processes of one run on this machine: started, watched and ended together."""
