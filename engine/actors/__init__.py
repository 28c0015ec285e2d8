"""The actors: where sockets, clocks and rings meet logic. Each is a duty cycle over ports that it is handed."""
