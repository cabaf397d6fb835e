// Package driver implements Docker's log driver protocol and runs one session per container.
// A session ties the FIFOs, the spool, the events and their delivery together.
//
// The package must not know AWS, batches or retries. The settings and a Locator say where
// events go. A Deliverer delivers them.
//
// # Files
//
// The requests come in at http.go and driver.go. registry.go maps containers to sessions, and
// fifos.go maps FIFOs to their readers. open.go opens a session, session.go has its life,
// attachment.go its FIFOs, container_run.go its runs and its record, and deliver.go and
// destination.go its delivery. environment.go has what a session needs from the plugin.
// report.go has the driver's part of the status.
//
// # The states of a session
//
// One goroutine, the owner, runs session.own. Only the owner moves its session to the next
// state, and it ends the session only when nobody holds a reference.
//
//	state       references are held by         what ends the state                what a crash leaves behind
//	---------   ----------------------------   --------------------------------   -----------------------------------
//	opening     the start or the reader that   the spool is open                  containers/ID with no record, or an
//	            opens it (slot.lock is held)                                      earlier one: removed, or delivered
//	                                                                              under the recorded names
//	attached    each attachment (a FIFO that   StopLogging has emptied all        containers/ID, whose record names
//	            is read), each call that       FIFOs, or their writers are gone   the FIFOs: they are read on after the
//	            attaches or reads                                                 spool's last block
//	draining    the attachment                 the writer is gone (EOF)           the same, but dockerd may have
//	                                                                              removed the FIFO, which is skipped
//	delivering  readers of docker logs         everything is acknowledged, or     containers/ID: what is not
//	                                           the container is started again     acknowledged is delivered again
//	archived    nobody: there is no session    a start or a reader opens it, it   stopped/ID, or containers/ID before
//	                                           expires, or it is evicted          the rename: both are found
//
// A start finds or opens a session with the lock of the container's slot held, and takes its
// reference before it unlocks. The owner ends the session with the same lock held, after it
// has seen that there is no reference. A start therefore either holds a session before the
// owner can end it, or waits for the end and opens the session again.
//
// # FIFOs
//
// Each FIFO has at most one reader, see fifos. A FIFO that no session claims is discarded
// when it fills (discard.go), because a FIFO that nobody reads blocks its container and
// docker stop.
//
// # Container runs
//
// Lines go to the names of the container run that wrote them. If a container is started with
// another name or other options while lines are undelivered, the record keeps what described
// the earlier run, and the position where it ended (container_run.go).
//
// # Lock order
//
// A lock may be taken while holding one that is above it, and not the other way round.
//
//	slot.lock            one container's; held over disk I/O, while its session is opened or ended
//	session.recording    one container's; held over disk I/O, while its record is written
//	attachment.mu,
//	discarder.mu         one FIFO's; held while it is opened (system calls that do not wait)
//	registry.mu,
//	fifos.mu             the maps'; held for a few instructions, and never both at once
//	session.mu           one container's; held for a few instructions
//	the spool's lock     one container's; held while a block is written, and never taken
//	                     while session.mu is held
//	losses.mu, drops.mu  one container's; held for a few instructions, and never both at once
//
// The intake's goroutine calls an attachment without a lock. The attachment takes fifos.mu,
// session.mu and the spool's lock, one after the other. The spool calls OnGap and OnLoss with
// its lock held, and they take only losses.mu and drops.mu.
//
// # Status
//
// Report (report.go) takes registry.mu, fifos.mu, session.mu and drops.mu, and no lock that
// is held over disk I/O or a wait. The spool and the intake publish their numbers in atomic
// variables: traffic.go, and backlog.go of package spool. space.go and watch.go look at
// the rest in the background.
//
// # Stopping
//
// StopIntake refuses new sessions and stops the intake. A StopLogging that comes later still
// drains its FIFO. Sync and the last uploads follow (run.go of package main). Close ends the
// owners, then the intake, and closes the spools last, because all others write to them.
package driver
