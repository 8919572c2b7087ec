package main

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// The store is a directory: a file for each order, one for the columns that orders may have, and as many
// processes as like at a time. What has a column that the store does not know is refused, as a database does.
const data = "data"

type order struct {
	Ordered int64             `json:"ordered"` // nanoseconds since 1970
	Release string            `json:"release"`
	Mails   int               `json:"mails"`
	Columns map[string]string `json:"columns"`
}

func place(parts ...string) string {
	return filepath.Join(append([]string{data}, parts...)...)
}

// locked does what needs others to wait: syscall.LOCK_SH for those that add, LOCK_EX for those that change.
func locked(how int, do func() error) error {
	lock, err := os.OpenFile(place("lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return err
	}
	defer lock.Close()
	for {
		if err = syscall.Flock(int(lock.Fd()), how); !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if err != nil {
		return err
	}
	return do()
}

// write replaces a file as a whole.
func write(file string, what any) error {
	said, err := json.Marshal(what)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(file+".new", append(said, '\n'), 0o644); err != nil {
		return err
	}
	return os.Rename(file+".new", file)
}

func read(file string, into any) error {
	said, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	return json.Unmarshal(said, into)
}

func columns() (map[string]bool, error) {
	known := map[string]bool{}
	err := read(place("columns.json"), &known)
	if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	return known, err
}

func addOrder(item string) (string, error) {
	row := map[string]string{"item": item, "fax": ""}
	if item == "" {
		return "", errors.New("cannot add an order: its item must not be empty")
	}
	random := make([]byte, 16)
	if _, err := rand.Read(random); err != nil {
		return "", err
	}
	id := fmt.Sprintf("%x", random)
	return id, locked(syscall.LOCK_SH, func() error {
		known, err := columns()
		if err != nil {
			return err
		}
		for column := range row {
			if !known[column] {
				return fmt.Errorf("cannot add an order: there is no column %s", column)
			}
		}
		added := order{time.Now().UnixNano(), os.Getenv("RELCTL_RELEASE"), 0, row}
		if err := write(place("orders", id), added); err != nil {
			return err
		}
		return write(place("outbox", id), nil)
	})
}

func readOrder(id string) (order, error) {
	var found order
	return found, read(place("orders", filepath.Base(id)), &found)
}
