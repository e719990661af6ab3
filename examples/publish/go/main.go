// Publishes one event: go run main.go TOPIC DATA. Prints the event's id. Standard library only.
package main

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	mathrand "math/rand"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

const attempts = 8

var client = &http.Client{Timeout: 10 * time.Second}

func publish(topic, data string) (string, error) {
	// The same key at every attempt: if only the answer was lost, the hub says where the event already stands.
	random := make([]byte, 16)
	if _, err := rand.Read(random); err != nil {
		return "", err
	}
	key := hex.EncodeToString(random)
	for attempt := 1; ; attempt++ {
		wait := math.Min(0.25*math.Pow(2, float64(attempt)), 5) * (0.5 + mathrand.Float64()/2)
		answer, err := post(topic, data, key)
		if err == nil && answer.status == http.StatusOK {
			return answer.LastID, nil
		}
		if err == nil {
			err = fmt.Errorf("HTTP %d: %s", answer.status, answer.Detail)
		}
		// 4xx is our mistake: trying again would not help.
		if attempt == attempts || (answer.status >= 400 && answer.status < 500) {
			return "", fmt.Errorf("not published: %w", err)
		}
		time.Sleep(time.Duration(math.Max(wait, answer.retryAfter) * float64(time.Second)))
	}
}

type answer struct {
	LastID     string  `json:"last_id"`
	Detail     string  `json:"detail"`
	status     int     // 0: none came
	retryAfter float64 // seconds
}

func post(topic, data, key string) (answer, error) {
	hub := os.Getenv("TIDINGS_URL")
	if hub == "" {
		hub = "http://127.0.0.1:4000"
	}
	target := hub + "/topics?topic=" + url.QueryEscape(topic)
	request, err := http.NewRequest(http.MethodPost, target, strings.NewReader(data))
	if err != nil {
		return answer{}, err
	}
	request.Header.Set("Content-Type", "text/plain")
	request.Header.Set("Idempotency-Key", key)
	if token := os.Getenv("TIDINGS_KEY"); token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := client.Do(request)
	if err != nil {
		return answer{}, err
	}
	defer response.Body.Close()
	said := answer{status: response.StatusCode}
	said.retryAfter, _ = strconv.ParseFloat(response.Header.Get("Retry-After"), 64)
	if err := json.NewDecoder(response.Body).Decode(&said); err != nil && said.status == http.StatusOK {
		return answer{}, err // cut off: whether it was stored, the next attempt tells
	}
	return said, nil
}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: main.go TOPIC DATA")
		os.Exit(2)
	}
	id, err := publish(os.Args[1], os.Args[2])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(id)
}
