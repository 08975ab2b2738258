"""The demo: a district on one machine, its devices simulated on real transports."""
