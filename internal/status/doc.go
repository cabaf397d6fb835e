// Package status describes what the plugin says about itself. The components (intake, spool,
// delivery, service, access) fill in a Report. The command logspool status, the status page
// and the metrics show the numbers of that Report, so they cannot differ.
//
// A Report is plain data, with JSON field names that programs may rely on. Counters count
// since the plugin started. Times are in UTC. A time that is not known is left out.
//
// The package must not know how anything works: it shows what the components report.
package status
