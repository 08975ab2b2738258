"""The school daemon: device supervision, local store, local pages, lessons, uplink."""
