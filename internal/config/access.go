package config

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"

	"github.com/logspool/logspool/internal/target"
)

// roleSyntax is the syntax of a role's ARN in all partitions (IAM user guide, IAM
// identifiers). The path is printable ASCII, and the name has at most 64 characters.
var roleSyntax = regexp.MustCompile(`^arn:aws[a-z0-9-]*:iam::[0-9]{12}:role/(?:[!-~]+/)?[\w+=,.@-]{1,64}$`)

func parseRole(text string) (string, error) {
	const longest = 2048 // STS API reference, AssumeRole
	arn := strings.TrimSpace(text)
	if len(arn) > longest || !roleSyntax.MatchString(arn) {
		return "", fmt.Errorf("%s is not the ARN of a role: use one such as arn:aws:iam::123456789012:role/NAME", shown(text))
	}
	return arn, nil
}

// externalIDSyntax is AssumeRole's. parseExternalID checks the length separately, because a
// regexp cannot count beyond 1000.
var externalIDSyntax = regexp.MustCompile(`^[\w+=,.@:/-]+$`)

func parseExternalID(text string) (string, error) {
	const shortest, longest = 2, 1224
	id := strings.TrimSpace(text)
	if len(id) < shortest || len(id) > longest || !externalIDSyntax.MatchString(id) {
		return "", fmt.Errorf("%s is not an external ID: use %d to %d letters, digits and _ + = , . @ : / -", shown(text), shortest, longest)
	}
	return id, nil
}

// parseCredentialsEndpoint reads a path, which awslogs appends to http://169.254.170.2.
// Its error does not repeat the path, because anyone who knows it can fetch the
// credentials.
func parseCredentialsEndpoint(text string) (string, error) {
	path := strings.TrimSpace(text)
	u, err := url.Parse("http://" + target.CredentialsHost + path)
	if err != nil || !strings.HasPrefix(path, "/") || strings.ContainsAny(path, "# \\") || u.Host != target.CredentialsHost {
		return "", fmt.Errorf("the value (not shown here) is not a path on the container credentials endpoint: use one that begins with /, such as /v2/credentials/ID")
	}
	return path, nil
}
