package check

import (
	"errors"
	"strings"

	"github.com/aws/smithy-go"

	"github.com/logspool/logspool/internal/oneline"
)

// maxText is how much of one text is shown, in bytes.
const maxText = 1000

// line returns a text as one printable line without secrets.
func line(s string) string {
	return oneline.Text(strings.Join(strings.Fields(oneline.Redact(s)), " "), maxText)
}

// text returns what an error says. Of an answer of AWS, it is the code and the message, and
// not the request around it.
func text(err error) string {
	var refused smithy.APIError
	if errors.As(err, &refused) {
		if refused.ErrorMessage() == "" {
			return refused.ErrorCode()
		}
		return refused.ErrorCode() + ": " + refused.ErrorMessage()
	}
	return err.Error()
}
