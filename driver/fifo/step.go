package fifo

// step is called between the steps of taking a piece out of a FIFO. It does nothing; a test that
// kills the process at each step puts its own function there.
var step = func(string) {}
