"""The local cloud: vendors' APIs on this machine, in which jobs run, endpoints serve and seconds are metered."""
