// Package driver implements Docker's log driver protocol and runs one session per container. A session ties FIFO, spool,
// events and delivery together, and survives the plugin.
//
// The package must not know AWS, batches or retries. It learns from the settings and from a Locator where events go, and
// hands them to a Deliverer.
//
// # The life of a session
//
// One goroutine owns a session: own (session.go). Only the owner moves a session to its next state, and it archives a session
// only when nobody holds a reference.
//
//	state       references are held by         what ends the state                  what a crash leaves behind
//	---------   ----------------------------   ----------------------------------   -----------------------------------
//	opening     the start or the reader that   the spool is open                    containers/ID without a record, or with
//	            opens it, with the slot's                                           the one before: removed, or delivered
//	            lock                                                                under the names that it has
//	attached    each attachment (a FIFO that   StopLogging has drained each FIFO,   containers/ID; the record names the
//	            is read), each call that       or its writer is gone                FIFOs, which are read on from the byte
//	            attaches or reads                                                   after the last block
//	draining    the attachment, until the      the writer is gone (EOF)             as attached; dockerd may have removed
//	            writer is gone                                                      the FIFO, which then is skipped
//	delivering  readers of docker logs; the    all is acknowledged, or the          containers/ID; what is not
//	            owner itself needs none        container is started again           acknowledged is delivered again
//	archived    nobody: there is no session    a start or a reader takes it back,   stopped/ID, or containers/ID when the
//	                                           it expires, its space is needed      rename was not reached; both are found
//
// A start finds or makes a session under the lock of the container's slot, and takes its reference before it
// unlocks. The owner archives under the same lock, after it has seen that there is no reference. So a start either holds
// the session before the owner can end it, or waits until the session is archived and then opens it again.
//
// Each FIFO has at most one reader: the maps files and discarding of the Driver say which. A FIFO that nobody claims is
// discarded when it fills (unclaimed.go), because a FIFO that nobody reads blocks its container and docker stop.
//
// # Names
//
// Lines go to the names of the run that wrote them. When a container is started with another name or other options while
// lines are undelivered, the record keeps what described the earlier run, and where in the stream it ended (runs.go).
//
// # Locks
//
// In this order; nobody takes a lock that comes earlier while holding one that comes later.
//
//	slot.lock              of one container; held over disk I/O, while its session is opened or archived
//	session.recording      of one container; held over disk I/O, while its record is written
//	attachment.mu,
//	discarding.mu          of one FIFO; held while it is opened (system calls that do not wait)
//	Driver.mu              the maps; held for a few instructions
//	session.mu             of one container; held for a few instructions
//	the spool's lock       of one container; held while a block is written
//	losses.mu              of one container's losses; held for a few instructions
//
// The intake's goroutine calls an attachment (Take, End, Fault, Panicked) without a lock. It takes Driver.mu,
// session.mu and the spool's lock, one after the other. The spool calls OnGap and OnLoss with its lock held; they take
// losses.mu alone.
//
// # Stopping
//
// StopIntake refuses new sessions and stops the intake; a StopLogging that comes later still drains its FIFO. Sync and the
// last uploads follow (run.go of the main package). Close ends the owners, then the intake, and closes the spools last,
// because all others write to them.
package driver
