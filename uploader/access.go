package uploader

// Access says how the service is reached and with whose credentials. What is the same shares one client.
type Access struct {
	Region   string
	Endpoint string // base URL of the service; empty: the SDK's own
	// RoleARN is the role to assume, with ExternalID if its trust policy asks for one; empty: none.
	RoleARN    string
	ExternalID string
	// CredentialsEndpoint is the path on the container credentials endpoint; empty: the SDK's own chain.
	CredentialsEndpoint string
}

func (t Target) access() Access {
	return Access{t.Region, t.Endpoint, t.RoleARN, t.ExternalID, t.CredentialsEndpoint}
}
