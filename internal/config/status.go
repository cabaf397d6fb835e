package config

import (
	"cmp"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
)

// StatusSettings says how the plugin shows its status.
type StatusSettings struct {
	// StatusAddr is the address HOST:PORT to serve the status at, or empty for none.
	StatusAddr string
	// PricePerGB is the price of a GB of ingested logs.
	PricePerGB float64
}

// listenAddr matches HOST:PORT, :PORT and PORT. The host is a name, an IPv4 address, or an
// IPv6 address in brackets. The length of the host is checked separately, because a regexp that
// counts is large.
var listenAddr = regexp.MustCompile(`^(?:([A-Za-z0-9][A-Za-z0-9_.-]*|\[[0-9A-Fa-f:.]+\])?:)?([0-9]{1,5})$`)

// parseStatusAddr reads an address to listen on. A port alone is one of loopback. An operator
// who means all addresses of the host must write 0.0.0.0, because the page asks for no
// password.
func parseStatusAddr(text string) (string, error) {
	const longestHost = 253
	parts := listenAddr.FindStringSubmatch(strings.TrimSpace(text))
	if parts == nil || len(parts[1]) > longestHost || !validPort(parts[2]) {
		return "", fmt.Errorf("%s is not an address to listen on: use HOST:PORT such as 127.0.0.1:9465, or a port from 1 to 65535", shown(text))
	}
	return cmp.Or(parts[1], "127.0.0.1") + ":" + parts[2], nil
}

// parsePrice reads a price, without a currency.
func parsePrice(text string) (float64, error) {
	const most = 1e6
	price, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	if err != nil || math.IsNaN(price) || price < 0 || price > most {
		return 0, fmt.Errorf("%s is not a price: use a number from 0 to 1000000, such as 0.50, without a currency", shown(text))
	}
	return price, nil
}
