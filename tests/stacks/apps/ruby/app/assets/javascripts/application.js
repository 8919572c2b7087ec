// What is ordered elsewhere appears here. A socket that ends is opened again, not by everybody at once.
function listen() {
  const channel = JSON.stringify({ channel: "OrdersChannel" });
  const socket = new WebSocket(location.origin.replace("http", "ws") + "/cable", "actioncable-v1-json");
  socket.onopen = () => socket.send(JSON.stringify({ command: "subscribe", identifier: channel }));
  socket.onmessage = (event) => {
    const { message } = JSON.parse(event.data);
    if (message && message.ordered) document.querySelector("ul").prepend(message.ordered);
  };
  socket.onclose = () => setTimeout(listen, 1000 * Math.random());
}
addEventListener("load", listen);
