package awsenv

import (
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/logspool/logspool/internal/target"
)

// maxProviders bounds the number of shared providers. Each task of an ECS cluster has its
// own path on the container credentials endpoint, and tasks come and go.
const maxProviders = 256

// A source identifies the keys of a provider. Its region is the region of the logs, and
// STS is called there: it is in the role's partition, and a region that is down or
// misspelled does not affect containers that log to another region.
type source struct{ path, role, externalID, region string }

func sourceOf(a target.Access) source {
	s := source{path: a.CredentialsEndpoint}
	if a.RoleARN != "" {
		s.role, s.externalID = a.RoleARN, a.ExternalID
		if !isAuto(a.Region) {
			s.region = a.Region
		}
	}
	return s
}

// providers keeps one provider for each source. The zero value can be used.
type providers struct {
	mu     sync.Mutex
	byFrom map[source]*kept
	clock  uint64
}

type kept struct {
	aws.CredentialsProvider
	used uint64 // used is the clock at the last get.
}

// credentials returns the provider for a. plain is the configuration for clients of STS.
func (e *Env) credentials(plain aws.Config, a target.Access) (aws.CredentialsProvider, error) {
	base := e.defaultKeys
	if a.CredentialsEndpoint != "" {
		url, err := containerEndpoint(a.CredentialsEndpoint)
		if err != nil {
			return nil, err
		}
		base = e.providers.get(source{path: a.CredentialsEndpoint}, func() aws.CredentialsProvider {
			return newCache(e.containerClient(plain, url).keys(url))
		})
	}
	if a.RoleARN == "" {
		return base, nil
	}
	return e.providers.get(sourceOf(a), func() aws.CredentialsProvider {
		return newCache(e.newRole(plain, base, a))
	}), nil
}

// get returns the provider of s, and makes it if there is none. If there are too many
// providers, get forgets the one that was used least recently. Its users can keep using it.
func (p *providers) get(s source, make func() aws.CredentialsProvider) aws.CredentialsProvider {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clock++
	if k := p.byFrom[s]; k != nil {
		k.used = p.clock
		return k.CredentialsProvider
	}
	if len(p.byFrom) >= maxProviders {
		p.forgetOldest()
	}
	if p.byFrom == nil {
		p.byFrom = map[source]*kept{}
	}
	k := &kept{make(), p.clock}
	p.byFrom[s] = k
	return k.CredentialsProvider
}

func (p *providers) forgetOldest() {
	var oldest source
	least := ^uint64(0)
	for s, k := range p.byFrom {
		if k.used < least {
			oldest, least = s, k.used
		}
	}
	delete(p.byFrom, oldest)
}
