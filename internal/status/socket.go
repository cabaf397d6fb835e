package status

const (
	// SocketName is the name of the status socket in the state directory. Only root can use
	// it, because only root can enter the directory.
	SocketName = "status.sock"

	// ReportPath is the path at which the socket serves the Report as JSON.
	ReportPath = "/status"
)
