"""What people have reported of real servers, networks, notebooks and files: rows H1 to H39."""
