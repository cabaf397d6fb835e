// Package digits makes long numbers readable.
package digits

import "strings"

// Separate returns a decimal number with a comma between thousands. The number may begin with a
// minus sign and have a fraction, as strconv.FormatFloat writes it with the format 'f'.
func Separate(number string) string {
	whole, fraction, found := strings.Cut(number, ".")
	for i := len(whole) - 3; i > 0 && whole[i-1] != '-'; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if found {
		whole += "." + fraction
	}
	return whole
}
