package shop;

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpHandler;
import java.io.IOException;
import java.net.URLDecoder;
import java.nio.charset.StandardCharsets;
import java.sql.SQLException;
import java.util.HashMap;
import java.util.Map;

/** GET / and /order/NUMBER, POST /order */
final class Shop implements HttpHandler {
    private static final String PAGE = "<!doctype html><title>Shop</title>\n";
    private static final String HOME = """
            <h1>Teas</h1>
            <p>Today: tea 0-0 for %s cents</p>
            <form method=post action=/order><input name=item><button>Order</button></form>
            """;

    private final Catalogue catalogue;

    Shop(Catalogue catalogue) {
        this.catalogue = catalogue;
    }

    @Override
    public void handle(HttpExchange exchange) throws IOException {
        try (exchange) {
            answer(exchange);
        }
    }

    private void answer(HttpExchange exchange) throws IOException {
        try {
            var path = exchange.getRequestURI().getPath();
            var form = form(exchange);
            if (path.equals("/")) {
                send(exchange, 200, HOME.formatted(catalogue.cents("tea 0-0")));
            } else if (path.equals("/order") && exchange.getRequestMethod().equals("POST")) {
                order(exchange, form.get("item"));
            } else if (path.matches("/order/[0-9]{1,18}")) {
                show(exchange, Long.parseLong(path.substring("/order/".length())));
            } else {
                send(exchange, 404, "<p>Not here.</p>");
            }
        } catch (SQLException | RuntimeException e) {
            e.printStackTrace();
            send(exchange, 500, "<p>Sorry.</p>");
        }
    }

    private void order(HttpExchange exchange, String item) throws IOException, SQLException {
        exchange.getResponseHeaders().set("Location", "/order/" + Orders.add(item));
        send(exchange, 302, "");
    }

    private void show(HttpExchange exchange, long id) throws IOException, SQLException {
        var item = Orders.item(id);
        if (item == null) {
            send(exchange, 404, "<p>No such order.</p>");
        } else {
            send(exchange, 200, "<p>Order " + id + ": " + item + "</p>");
        }
    }

    private static Map<String, String> form(HttpExchange exchange) throws IOException {
        var body = new String(exchange.getRequestBody().readAllBytes(), StandardCharsets.UTF_8);
        var form = new HashMap<String, String>();
        for (var pair : body.split("&")) {
            var at = pair.indexOf('=');
            if (at > 0) {
                var value = URLDecoder.decode(pair.substring(at + 1), StandardCharsets.UTF_8);
                form.put(pair.substring(0, at), value);
            }
        }
        return form;
    }

    private static void send(HttpExchange exchange, int status, String html) throws IOException {
        var body = (PAGE + html).getBytes(StandardCharsets.UTF_8);
        exchange.getResponseHeaders().set("Content-Type", "text/html; charset=utf-8");
        exchange.sendResponseHeaders(status, body.length);
        exchange.getResponseBody().write(body);
    }
}
