"""What tests share: scripted servers, kernels, pages, widgets, stores, and the limits they are held to."""
