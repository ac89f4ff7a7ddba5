"""AWS: thin translations of its wire formats, and MiniStack for the services we do not execute ourselves."""
