package awsenv

import (
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/logspool/logspool/internal/target"
)

// maxProviders bounds the providers that are kept to be shared. Each task of an ECS cluster has a path of
// its own on the container credentials endpoint, and they come and go.
const maxProviders = 256

// A source is what decides which keys a provider gets. STS is asked in the region whose logs the keys are for:
// it is in the role's partition, and a region that is down, or misspelt, takes no other's containers with it.
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

// providers keeps one provider for each source. Its zero value is ready.
type providers struct {
	mu     sync.Mutex
	byFrom map[source]*kept
	clock  uint64
}

type kept struct {
	aws.CredentialsProvider
	used uint64 // providers.clock when it was last asked for
}

// credentials returns the provider for a. plain is what clients of STS are made from.
func (e *Env) credentials(plain aws.Config, a target.Access) (aws.CredentialsProvider, error) {
	base := e.creds
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

// oneLine makes the error's text one line, wherever it comes from, without what each of the SDK's caches puts before it
// (aws/credential_cache.go): the cause is what the operator needs to see.
func oneLine(err error) error {
	if text := err.Error(); !strings.ContainsAny(text, "\r\n") && !strings.Contains(text, cacheFailed) {
		return err
	}
	return lineError{err}
}

const cacheFailed = "failed to refresh cached credentials, "

type lineError struct{ error }

func (e lineError) Error() string {
	return strings.ReplaceAll(strings.Join(strings.Fields(e.error.Error()), " "), cacheFailed, "")
}
func (e lineError) Unwrap() error { return e.error }

// get returns the provider of s, and makes it if there is none. When there are too many, the one that nobody
// has asked for the longest time is forgotten; who holds it may go on using it.
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
