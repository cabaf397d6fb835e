package status

import "time"

const (
	// HistoryInterval is the time that one Point covers.
	HistoryInterval = 15 * time.Second

	// HistoryPoints is the largest number of points of a history: half an hour.
	HistoryPoints = 120
)
