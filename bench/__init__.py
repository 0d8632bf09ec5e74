"""Side-by-side benchmark of tileconv and the peers installed beside it; see README.md."""
