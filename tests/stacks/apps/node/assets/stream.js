// A connection that ends is made again by the browser, with the number of what it got last.
export function listen(tell) {
  const stream = new EventSource("/events");
  stream.onmessage = (event) => tell(JSON.parse(event.data));
}
