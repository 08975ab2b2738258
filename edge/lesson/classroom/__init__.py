"""What a room's pages receive: the stream, its board, replay and HLS."""
