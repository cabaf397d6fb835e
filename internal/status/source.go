package status

// Source is where the status page and the metrics get the plugin's state. Its methods may be
// called by several goroutines at once. They do not wait for CloudWatch or for the disk. A
// Monitor is a Source.
type Source interface {
	// Report returns the state of this moment. It may be shared, so nobody may change it.
	Report() *Report
	// History returns what was read from the container of that ID, or from all containers if
	// id is empty. The oldest point is first. There are at most HistoryPoints points, each of
	// which covers HistoryInterval. The caller owns the slice.
	History(id string) []Point
}
