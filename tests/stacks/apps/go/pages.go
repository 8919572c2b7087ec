package main

import (
	"fmt"
	"html"
	"log"
	"net/http"
	"strings"
)

const home = `<!doctype html><title>Shop</title>
<link rel="stylesheet" href="%s"><script src="%s" defer></script>
<form method="post" action="/order"><input name="item"><button>Order</button></form>
`

func pages() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/" {
			http.NotFound(w, r)
			return
		}
		fmt.Fprintf(w, home, address("shop.css"), address("shop.js"))
	})
	mux.HandleFunc("/order", takeOrder)
	mux.HandleFunc("/order/", showOrder)
	mux.HandleFunc("/assets/", serveAsset)
	return mux
}

func takeOrder(w http.ResponseWriter, r *http.Request) {
	id, err := addOrder(r.PostFormValue("item"))
	if err != nil {
		log.Print(err)
		http.Error(w, "Sorry.", http.StatusInternalServerError)
		return
	}
	http.Redirect(w, r, "/order/"+id, http.StatusFound)
}

func showOrder(w http.ResponseWriter, r *http.Request) {
	found, err := readOrder(strings.TrimPrefix(r.URL.Path, "/order/"))
	if err != nil {
		http.NotFound(w, r)
		return
	}
	fmt.Fprintf(w, "<p>Order: %s</p>", html.EscapeString(found.Columns["item"]))
}
