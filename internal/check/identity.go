package check

import (
	"context"
	"strings"
)

// identity is the ARN of a user or role as STS names it, and empty if it is not known.
type identity string

// part returns a part of the ARN, or otherwise if the ARN is not known.
func (i identity) part(n int, otherwise string) string {
	if parts := strings.Split(string(i), ":"); n < len(parts) {
		return parts[n]
	}
	return otherwise
}

func (i identity) partition() string { return i.part(1, "aws") }
func (i identity) account() string   { return i.part(4, "*") }

// checkIdentity asks STS whose the credentials are, as the plugin does. The plugin does not
// need to know.
func (r *remote) checkIdentity(ctx context.Context) Result {
	const name = "identity"
	arn, err := within(ctx, identityLimit, func(ctx context.Context) (string, error) {
		arn, _, err := r.env.Identity(ctx, r.access)
		return arn, err
	})
	switch {
	case err != nil && isAny(err, authCodes) && !r.clockIsBad:
		return r.refusedKeys(err)[0]
	case err != nil:
		return unknown(name, "STS did not say whose the credentials are, which the plugin does not need: %s", text(err))
	}
	r.identity = identity(arn)
	return good(name, "%s", arn)
}
