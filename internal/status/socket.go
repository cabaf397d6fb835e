package status

const (
	// SocketName is the name of the status socket in the state directory. Only root can use
	// it, because only root can enter the directory.
	SocketName = "status.sock"

	// RunningMark is the name of a file in the state directory while the plugin runs. It has
	// the ID of the host's boot, if that is known.
	RunningMark = "running"

	// ReportPath is the path at which the socket serves the Report as JSON.
	ReportPath = "/status"
)

// Clients returns how many clients the status socket and STATUS_ADDR serve at once, in a
// process that may have openFiles descriptors. Each client takes one.
func Clients(openFiles int) (socket, tcp int) {
	return min(max(openFiles/128, 2), 8), min(max(openFiles/32, 2), 32)
}

// Descriptors returns how many descriptors the status takes at most: those of its clients, two
// listeners, and the state directory.
func Descriptors(openFiles int) int {
	socket, tcp := Clients(openFiles)
	return socket + tcp + 3
}
