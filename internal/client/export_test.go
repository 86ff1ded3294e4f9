package client

import "bufio"

// ReadMessage shows readMessage to tests.
func ReadMessage(s *bufio.Scanner) (event string, data []byte, err error) {
	m, err := readMessage(s)
	return m.event, m.data, err
}
