package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

type migration struct {
	name string
	when string // "expand": before the release that wants it; "contract": when nobody wants the old ones back
	run  func() error
}

var migrations = []migration{
	{"0001_orders", "expand", addColumns("item", "fax")},
}

func migrate(when string) error {
	if when != "expand" && when != "contract" {
		return errors.New("cannot migrate: say expand or contract")
	}
	return locked(syscall.LOCK_EX, func() error {
		for _, one := range migrations {
			done := place("migrations", one.name)
			if _, err := os.Stat(done); err == nil || one.when != when {
				continue
			}
			if err := one.run(); err != nil {
				return fmt.Errorf("%s: %w", one.name, err)
			}
			if err := write(done, time.Now().UnixNano()); err != nil {
				return err
			}
			fmt.Println(one.name)
		}
		return nil
	})
}

func addColumns(added ...string) func() error {
	return func() error {
		known, err := columns()
		if err != nil {
			return err
		}
		for _, column := range added {
			known[column] = true
		}
		return write(place("columns.json"), known)
	}
}

func dropColumn(column string) func() error {
	return func() error {
		known, err := columns()
		if err != nil {
			return err
		}
		delete(known, column)
		files, err := filepath.Glob(place("orders", "*"))
		if err != nil {
			return err
		}
		for _, file := range files {
			var row order
			if err := read(file, &row); err != nil {
				return err
			}
			delete(row.Columns, column)
			if err := write(file, row); err != nil {
				return err
			}
		}
		return write(place("columns.json"), known)
	}
}
