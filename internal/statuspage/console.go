package statuspage

import (
	"net/url"
	"regexp"
	"strings"
)

// regionName matches the names of AWS regions. A container's option can name any region, so
// nothing else may become part of a host name.
var regionName = regexp.MustCompile(`^[a-z]{2,5}(-[a-z]{2,12}){1,2}-[0-9]{1,2}$`)

// consoles has the domains of the console in the partitions that have a public one, by the
// prefix of their regions. The isolated partitions (us-iso-, us-isob-, us-isof-, eu-isoe-)
// have none.
var consoles = []struct{ prefix, domain string }{
	{"us-iso", ""},
	{"eu-iso", ""},
	{"cn-", "console.amazonaws.cn"},
	{"us-gov-", "console.amazonaws-us-gov.com"},
	{"eusc-", "console.amazonaws-eusc.eu"},
	{"", "console.aws.amazon.com"},
}

// awsDomains are the domains of AWS endpoints. What is sent to another endpoint, such as a
// stand-in for tests, is not in the console.
var awsDomains = []string{".amazonaws.com", ".amazonaws.com.cn", ".amazonaws.eu", ".api.aws", ".api.amazonwebservices.com.cn", ".api.amazonwebservices.eu"}

// consoleURL returns the address of a log stream in the CloudWatch console, or of a log group
// if stream is empty. It returns "" if there is no such page.
func consoleURL(region, endpoint, group, stream string) string {
	if !regionName.MatchString(region) || group == "" || !awsEndpoint(endpoint) {
		return ""
	}
	domain := ""
	for _, c := range consoles {
		if strings.HasPrefix(region, c.prefix) {
			domain = c.domain
			break
		}
	}
	if domain == "" {
		return ""
	}
	address := "https://" + region + "." + domain + "/cloudwatch/home?region=" + region + "#logsV2:log-groups/log-group/" + consoleEscape(group)
	if stream != "" {
		address += "/log-events/" + consoleEscape(stream)
	}
	return address
}

func awsEndpoint(endpoint string) bool {
	if endpoint == "" {
		return true
	}
	if !strings.Contains(endpoint, "://") {
		endpoint = "https://" + endpoint
	}
	u, err := url.Parse(endpoint)
	if err != nil {
		return false
	}
	for _, d := range awsDomains {
		if strings.HasSuffix(u.Hostname(), d) {
			return true
		}
	}
	return false
}

// consoleEscape escapes a name for the fragment of a console address. The console takes
// percent escapes twice, and has a dollar sign for the percent sign of the second time: a
// slash is %2F, then %252F, then $252F.
func consoleEscape(name string) string {
	// PathEscape leaves some characters that mean something in a fragment, such as $ and :.
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(name) {
		c := name[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_', c == '.', c == '~':
			b.WriteByte(c)
		default:
			b.WriteString("$25")
			b.WriteByte(hex[c>>4])
			b.WriteByte(hex[c&15])
		}
	}
	return b.String()
}
