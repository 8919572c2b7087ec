package main

import (
	"crypto/sha256"
	"embed"
	"fmt"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strings"
)

//go:embed assets
var embedded embed.FS

// Names that change with the content: shop.css is assets/3f2a….css.
var named, contents = name()

func name() (map[string]string, map[string][]byte) {
	named, contents := map[string]string{}, map[string][]byte{}
	files, err := embedded.ReadDir("assets")
	if err != nil {
		panic(err)
	}
	for _, file := range files {
		content, err := embedded.ReadFile("assets/" + file.Name())
		if err != nil {
			panic(err)
		}
		hashed := fmt.Sprintf("%x%s", sha256.Sum256(content), path.Ext(file.Name()))
		named[file.Name()], contents[hashed] = hashed, content
	}
	return named, contents
}

func address(file string) string { return "/assets/" + named[file] }

func serveAsset(w http.ResponseWriter, r *http.Request) {
	content, known := contents[strings.TrimPrefix(r.URL.Path, "/assets/")]
	if !known {
		http.NotFound(w, r)
		return
	}
	if path.Ext(r.URL.Path) == ".css" {
		w.Header().Set("Content-Type", "text/css")
	}
	w.Write(content)
}

func writeAssets(directory string) error {
	if err := os.MkdirAll(directory, 0o755); err != nil {
		return err
	}
	for hashed, content := range contents {
		if err := os.WriteFile(filepath.Join(directory, hashed), content, 0o644); err != nil {
			return err
		}
	}
	return nil
}
