package config

import (
	"fmt"
	"regexp"
	"strings"
)

// RegionSettings says where the region comes from. Before anything is looked up, auto
// means awsRegion, or else awsDefaultRegion.
type RegionSettings struct {
	// Region is the region of ROUTE, or else of LOG_OPTS, or else of AWS_REGION; empty means
	// that the region has to be looked up in the SDK's configuration, then on EC2.
	Region string
	// RegionFrom says where Region was given, such as "ROUTE" or "AWS_REGION", and is empty if
	// Region is.
	RegionFrom string
	// NoEC2 says that the plugin never queries the EC2 metadata service.
	NoEC2 bool

	awsRegion        string
	awsRegionFrom    string
	awsDefaultRegion string
}

// regionSyntax is the syntax of AWS's regions in all partitions: eu-west-1, us-gov-east-1,
// us-isob-east-1, eusc-de-east-1. Only AWS knows whether a region exists.
var regionSyntax = regexp.MustCompile(`^[a-z]{2,8}(-[a-z]{2,16}){1,3}-[0-9]{1,2}$`)

// parseRegion reads a region. For auto, it returns the empty string.
func parseRegion(text string) (string, error) {
	region := strings.TrimSpace(text)
	if strings.EqualFold(region, "auto") {
		return "", nil
	}
	if !regionSyntax.MatchString(region) {
		return "", fmt.Errorf("%s is not a region: use one such as eu-west-1, or auto", shown(text))
	}
	return region, nil
}

// chooseRegion decides what auto means, and which region applies if no log option sets one.
// AWS_DEFAULT_REGION counts only if AWS_REGION is not set, as in the SDKs.
func (l *loader) chooseRegion() {
	s := l.s
	for _, r := range []struct{ name, region string }{
		{"AWS_REGION", s.awsRegion},
		{"AWS_DEFAULT_REGION", s.awsDefaultRegion},
	} {
		if l.failed(r.name) {
			s.hold.awsRegion = reason(r.name)
			break
		}
		if s.awsRegion = r.region; s.awsRegion != "" {
			s.awsRegionFrom = r.name
			break
		}
	}
	o, given := l.host["region"]
	region, _ := parseRegion(o.text)
	switch {
	case l.route.badAddress:
		s.hold.region = reason("ROUTE")
	case l.route.region != "":
		s.Region, s.RegionFrom = l.route.region, "ROUTE"
	case l.hostFailed["region"] != nil:
		s.hold.region = reason(l.hostFailed["region"].Setting)
	case given && region != "":
		s.Region, s.RegionFrom = region, o.from
	default:
		s.Region, s.RegionFrom, s.hold.region = s.awsRegion, s.awsRegionFrom, s.hold.awsRegion
	}
}
