// Package target declares where log events go: the endpoint and the credentials, the log group
// and stream, and what a new group gets. It is plain data, which the settings, the driver and
// the uploader share.
package target

// CredentialsHost is the address of the container credentials endpoint of the ECS agent
// (aws-sdk-go-v2, config, resolve_credentials.go, ecsContainerEndpoint, and moby's awslogs,
// defaultCredentialsEndpoint).
const CredentialsHost = "169.254.170.2"

// Access says where requests go and whose credentials sign them. It is comparable: one client
// serves all targets that have the same access.
type Access struct {
	// Region is the AWS region, such as "eu-central-1". STS is called there too.
	Region string
	// Endpoint is the base URL of CloudWatch Logs. If it is empty, the SDK chooses it.
	// Credentials do not depend on it.
	Endpoint string
	// RoleARN is the role to assume. If it is empty, no role is assumed.
	RoleARN string
	// ExternalID is passed to the role's trust policy. It is empty if the policy asks for none.
	ExternalID string
	// CredentialsEndpoint is a path on the container credentials endpoint,
	// http://169.254.170.2. Its credentials sign the requests, or assume the role. If it is
	// empty, the SDK's default chain is used.
	CredentialsEndpoint string
}

// NewGroup is what a log group gets when the plugin creates it. An existing group is never
// changed.
type NewGroup struct {
	// RetentionDays is a number that PutRetentionPolicy accepts. With 0, events never expire.
	RetentionDays int32
	// Tags has at most 50 entries. It is shared and must not be changed.
	Tags map[string]string
	// Class is a log group class, such as "INFREQUENT_ACCESS". If it is empty, CloudWatch
	// chooses it.
	Class string
	// KMSKeyID is the ARN of a key in the group's region. If it is empty, CloudWatch uses its
	// own encryption.
	KMSKeyID string
}

// IsZero reports whether n asks for nothing.
func (n *NewGroup) IsZero() bool {
	return n == nil || n.RetentionDays == 0 && len(n.Tags) == 0 && n.Class == "" && n.KMSKeyID == ""
}

// Entity is the service that events belong to, which CloudWatch shows under "Explore related".
// The zero value means none. It is comparable.
type Entity struct {
	// Service is the key attribute Name.
	Service string
	// Environment is the key attribute Environment.
	Environment string
	// Attributes is a JSON object of at most ten more attributes, strings with sorted keys, or
	// empty.
	Attributes string
}

// Target says where the events of a feed go. It is comparable.
type Target struct {
	Access
	// Group is a valid log group name.
	Group string
	// Stream is a valid log stream name.
	Stream string
	// Entity is sent with the events. One request cannot hold events of two entities.
	Entity Entity
	// EMF says that the events are in CloudWatch's embedded metric format. CloudWatch extracts
	// metrics only from requests that say so.
	EMF bool

	// Create says what to do if the group or the stream does not exist. It is not part of the
	// target's identity: feeds whose targets differ only here share batches.
	Create Create
}

// Create says what the plugin may create, and what a new group gets.
type Create struct {
	Group  bool
	Stream bool
	// NewGroup must not be changed. Nil means nothing.
	NewGroup *NewGroup
}
