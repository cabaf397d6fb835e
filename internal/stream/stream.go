// Package stream declares a position range in a container's stream of log bytes, which
// the spool, the events made from it and their delivery share. It is plain data and must
// not know any of them.
package stream

// Range is a half-open range [From, To) of positions in a container's stream. A position
// counts the bytes that dockerd wrote, frame headers included, from the first byte that
// the plugin spooled.
type Range struct{ From, To uint64 }
