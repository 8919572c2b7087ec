// A shop in one binary:
//
//	shop serve SOCKET              on a Unix socket
//	shop migrate expand|contract   those of the store's changes that were not made yet
//	shop mailer                    confirms orders, one mailer at a time
//	shop assets DIRECTORY          writes there what the binary has embedded
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

const patience = 20 * time.Second // for what has begun when SIGTERM comes

func main() {
	log.SetFlags(0)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 1 && args[0] == "mailer" {
		return mailer(ctx)
	}
	if len(args) == 2 {
		switch args[0] {
		case "serve":
			return serve(ctx, args[1])
		case "migrate":
			return migrate(args[1])
		case "assets":
			return writeAssets(args[1])
		}
	}
	return errors.New("usage: shop serve SOCKET | migrate expand|contract | mailer | assets DIRECTORY")
}

func serve(ctx context.Context, socket string) error {
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: pages(), ReadHeaderTimeout: 10 * time.Second}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	ending, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := server.Shutdown(ending); err != nil {
		return fmt.Errorf("not all was answered: %w", err)
	}
	return nil
}
