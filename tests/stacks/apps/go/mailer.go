package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// What a mailer leaves about itself. Nanoseconds since 1970.
type mailing struct {
	Release string `json:"release"`
	Began   int64  `json:"began"`
	Last    int64  `json:"last"`
	Refused bool   `json:"refused"`
}

func mailer(ctx context.Context) error {
	lock, err := os.OpenFile(place("mailer.lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return err
	}
	defer lock.Close()
	alone := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil
	now := time.Now().UnixNano()
	self := mailing{os.Getenv("RELCTL_RELEASE"), now, now, !alone}
	file := place("mailers", fmt.Sprint(now))
	if !alone {
		if err := write(file, self); err != nil {
			return err
		}
		return errors.New("another mailer is at it")
	}
	for ctx.Err() == nil {
		self.Last = time.Now().UnixNano()
		if err := write(file, self); err != nil {
			return err
		}
		waiting, err := filepath.Glob(place("outbox", "*[0-9a-f]"))
		if err != nil {
			return err
		}
		for _, one := range waiting {
			if ctx.Err() != nil {
				return nil
			}
			if err := mail(filepath.Base(one)); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(200 * time.Millisecond):
		}
	}
	return nil
}

func mail(id string) error {
	return locked(syscall.LOCK_EX, func() error {
		found, err := readOrder(id)
		if err != nil {
			return err
		}
		fmt.Println("mail about", found.Columns["item"])
		found.Mails++
		if err := write(place("orders", id), found); err != nil {
			return err
		}
		return os.Remove(place("outbox", id))
	})
}
