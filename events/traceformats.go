package events

import (
	"regexp"
	"sync"
)

// A format's states are numbered from 1. A rule without from and set applies outside of a
// trace. A frame's rule applies there too, so that frames also follow a first line that no
// rule knows, such as a log line that ends in the exception.

// traceFormats are the formats of stack traces that the plugin knows. testdata/traces has real
// traces of each.
var traceFormats = []traceFormat{
	{"java", javaRules},
	{"python", pythonRules},
	{"go", goRules},
	{"ruby", rubyRules},
	{"node", nodeRules},
	{"dotnet", dotnetRules},
}

// re matches a line with a regexp alone.
func re(expr string) lineMatcher { return lineMatcher{re: lazily(expr)} }

// startsWith matches a line with a regexp if the line begins with one of these bytes.
func startsWith(first, expr string) lineMatcher {
	return lineMatcher{first: first, re: lazily(expr)}
}

// contains matches a line with a regexp if the line contains one of these words.
func contains(words []string, expr string) lineMatcher {
	return lineMatcher{words: words, re: lazily(expr)}
}

// lazily compiles a regexp for its first line, because most plugins look for no traces.
func lazily(expr string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(expr) })
}

// indent has the bytes with which indented lines begin.
const indent = " \t"

// raised are words of which the class of an exception has one.
var raised = []string{"Exception", "Error", "Throwable", "Failure", "Fault"}

// javaRules are for java.lang.Throwable.printStackTrace, Logback's and Log4j's layouts, and
// thread dumps.
var javaRules = []traceRule{
	{set: states(0, 1), to: 1, line: startsWith(indent+".", `^\s+at [^(]+\(.*\)|^\s*\.\.\. \d+ (more|common frames omitted)|^\s+- (locked|waiting|parking|eliminated|None|<0x)|^\s+java\.lang\.Thread\.State: `)},
	{set: states(0, 1), to: 1, line: startsWith(indent+"CWS[", `^\s*(Caused by|Wrapped by|Suppressed): |^\s*\[CIRCULAR REFERENCE`)},
	{to: 1, begins: true, line: contains(append([]string{"Exception in thread"}, raised...), `^Exception in thread "|^([\w$]+\.)*[\w$]*(Exception|Error|Throwable|Failure|Fault)(: .*)?$`)},
}

const (
	pythonFrames  traceState = iota + 1 // after the header or a frame
	pythonRaised                        // after the exception
	pythonBetween                       // after the blank line that follows the exception
	pythonChained                       // after the line that says how two exceptions are related
)

// pythonRules are for module traceback, exception groups, and the errors of module logging.
var pythonRules = []traceRule{
	{set: states(pythonChained), to: pythonFrames, line: re(`^Traceback \(most recent call last\):$`)},
	{to: pythonFrames, begins: true, line: startsWith(indent+"ET", `^(Exception Group )?Traceback \(most recent call last\):$|^\s+\+ Exception Group Traceback \(most recent call last\):$`)},
	{to: pythonFrames, begins: true, line: startsWith(indent, `^  File ".*", line \d+`)},
	{set: states(pythonFrames, pythonRaised), to: pythonFrames, line: re(`^\s+\S`)},
	{from: pythonFrames, to: pythonRaised, line: re(`^[A-Za-z_][\w.<>]*(: |:?$)`)},
	{from: pythonRaised, to: pythonFrames, line: re(`^Call stack:$`)},
	{set: states(pythonFrames, pythonRaised), to: pythonRaised, line: re(`^(Message|Arguments): `)},
	{from: pythonRaised, to: pythonBetween, line: re(`^$`)},
	{set: states(0, pythonBetween), to: pythonChained, line: startsWith("DT", `^(During handling of the above exception, another exception occurred|The above exception was the direct cause of the following exception):$`)},
	{from: pythonChained, to: pythonChained, line: re(`^$`)},
}

const (
	goPanic   traceState = iota + 1 // after the panic's or the signal's message
	goFrames                        // in the stack of a goroutine
	goBetween                       // after the blank line that ends a stack
)

// goRules are for panics, fatal errors and the dumps of all goroutines (runtime/traceback.go,
// runtime/panic.go).
var goRules = []traceRule{
	{set: states(0, goPanic, goFrames, goBetween), to: goFrames, line: startsWith("gr", `^goroutine \d+ .*\[.*\]:$|^runtime stack:$`)},
	{to: goPanic, begins: true, line: startsWith("pfuSr", `^(panic|fatal error|unexpected fault address|SIG[A-Z]+|runtime)(:| 0x)`)},
	{from: goPanic, to: goPanic, line: re(`^$|^\s|^\[signal |^PC=|^(panic|fatal error|runtime|signal arrived)`)},
	{set: states(0, goFrames), to: goFrames, line: startsWith("\t", `^\t\S.*:\d+( \+0x[0-9a-f]+)?`)},
	{from: goFrames, to: goFrames, line: re(`^created by |^\S+\(.*\)$|^\.\.\.(additional|\d+) frames elided|^\t`)},
	{set: states(goFrames, goBetween), to: goBetween, line: re(`^$`)},
	{from: goBetween, to: goBetween, line: re(`^[a-z][a-z0-9]+ +0x[0-9a-f]+$`)},
	{set: states(goFrames, goBetween), to: 0, line: re(`^exit status \d+$`)},
}

const (
	rubyRaised  traceState = iota + 1 // after the exception
	rubyBlank                         // after the blank line before the marked code
	rubyCode                          // after the code (error_highlight)
	rubyRails                         // after the exception and in the code that Rails logs
	rubyFrames                        // in the backtrace
	rubyReverse                       // in a backtrace of Ruby 2.5 to 2.7, which ends in the exception
)

// rubyException matches the first line of an uncaught exception.
var rubyException = contains([]string{":in "}, "^\\S.*:\\d+:in [`'][^']*': .*\\([A-Z][\\w:]*\\)$")

// rubyRules are for uncaught exceptions, Exception#full_message, Logger and Rails.
var rubyRules = []traceRule{
	{set: states(0, rubyRaised, rubyRails, rubyFrames), to: rubyFrames, line: contains([]string{":in ", "from ", ".rb:", ".erb:", ".haml:", ".slim:", ".rake:", " levels"}, "^\\s*(from )?\\S.*:\\d+:in [`'][^']*'$|^\\s+from \\S.*:\\d+$|^\\S+\\.(rb|erb|haml|slim|rake):\\d+$|^\\s+\\.\\.\\. \\d+ levels\\.\\.\\.$")},
	{set: states(rubyFrames, rubyReverse), to: rubyRaised, line: rubyException}, // a cause follows the frames
	{to: rubyRaised, begins: true, line: rubyException},
	{to: rubyReverse, begins: true, line: startsWith("T", `^Traceback \(most recent call last\):$`)},
	{from: rubyReverse, to: rubyReverse, line: re(`^\s+\d+: from `)},
	{from: rubyRaised, to: rubyBlank, line: re(`^$`)},
	{from: rubyRaised, to: rubyRaised, line: re(`^Did you mean\?`)},
	{from: rubyBlank, to: rubyCode, line: re(`\S`)},
	{from: rubyCode, to: rubyRaised, line: re(`^\s*\^[\^~]*$`)},
	{to: rubyRails, begins: true, line: contains([]string{"Error (", "Exception ("}, `^([A-Z]\w*::)*([A-Z]\w*)?(Error|Exception) \(.*\):$`)},
	{from: rubyRails, to: rubyRails, line: re(`^\s*$|^\s+\S`)},
}

const (
	nodePlace   traceState = iota + 1 // after the place of an uncaught error
	nodeCode                          // after its line of code
	nodeThrown                        // after the mark below the code, and in the error's message
	nodeMessage                       // after the error's first line
	nodeFrames                        // in the stack
	nodeBlock                         // in the error's properties and its cause
	nodeEnd                           // after the last line of the stack of an uncaught error
)

// nodeRules are for Error.stack, console.error of an error (util.inspect), and uncaught errors.
// The message of an uncaught error may be anything. Node.js ends with it, so its version or the
// stack follows.
var nodeRules = []traceRule{
	{to: nodePlace, begins: true, line: startsWith("nf/ABCDEFGHIJKLMNOPQRSTUVWXYZ", `^(node:\S+|(file://|/|[A-Z]:\\)\S*\.[cm]?[jt]sx?):\d+$`)},
	{from: nodePlace, to: nodeCode, line: re(``)},
	{from: nodeCode, to: nodeThrown, line: re(`^\s*\^*\s*$`)},
	{set: states(0, nodeThrown, nodeMessage, nodeFrames), to: nodeBlock, line: startsWith(indent, `^\s+at .*\{$`)},
	{set: states(0, nodeThrown, nodeMessage, nodeFrames), to: nodeFrames, line: startsWith(indent+"T", `^\s+at \S|^\s+\.\.\. \d+ lines matching cause stack trace \.\.\.$|^Thrown at:$`)},
	{set: states(nodeThrown, nodeFrames, nodeEnd), to: 0, line: re(`^Node\.js v\d`)},
	{from: nodeThrown, to: nodeEnd, line: re("^\\(Use `node --trace-")},
	{from: nodeThrown, to: nodeThrown, line: re(``)},
	{to: nodeMessage, begins: true, line: contains(raised, `^(Uncaught )?(Unhandled\w+: )?([A-Za-z_$][\w$.]*)?(Error|Exception)( \[\w+\])?(: .*)?$`)},
	{from: nodeMessage, to: nodeMessage, line: re(`^$|^Require stack:$|^[-+] |^\s|^\+ actual|^\.\.\.|^\S+ (!==|!=|===|==) \S+$`)},
	{from: nodeBlock, to: nodeBlock, line: re(`^\s|^$`)},
	{from: nodeBlock, to: nodeEnd, line: re(`^\}$`)},
	{set: states(nodeFrames, nodeEnd), to: nodeEnd, line: re(`^$`)},
}

// dotnetRules are for Exception.ToString, unhandled exceptions, and the messages of the console
// logger, whose lines after the first have six spaces.
var dotnetRules = []traceRule{
	{set: states(0, 1), to: 1, line: startsWith(indent+"-<", `^\s+at \S|^\s*---> |^\s*--- End of .* ---$|^\s*<---$|^ {6}\S`)},
	{to: 1, begins: true, line: contains(append([]string{"Unhandled exception"}, raised...), `^Unhandled exception[.:] |^([\w+`+"`"+`]+\.)+[\w+`+"`"+`]*(Exception|Error)(: .*)?$`)},
}
