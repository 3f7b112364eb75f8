// A Java client as an application that knows nothing of headset. Argument: the version of HTTP.
// Prints one line of JSON.

import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;
import java.util.regex.Pattern;

public class Client {
    static final String DUMMY = "Basic ZHVtbXk6ZHVtbXk=";

    static HttpRequest get(String url) {
        return HttpRequest.newBuilder(URI.create(url)).header("Authorization", DUMMY).build();
    }

    static void must(boolean holds, Object what) {
        if (!holds) {
            System.err.println(what);
            System.exit(1);
        }
    }

    public static void main(String[] args) throws Exception {
        var version = args[0].equals("2") ? HttpClient.Version.HTTP_2 : HttpClient.Version.HTTP_1_1;
        var client = HttpClient.newBuilder().version(version).build();
        var echo = client.send(get("https://api.exotel.com/_sim/echo"), BodyHandlers.ofString());
        must(echo.version() == version, echo.version());
        var shown = Pattern.compile("\"authorization\":\\[\"([^\"]*)\"\\]").matcher(echo.body());
        must(shown.find() && !shown.group(1).equals(DUMMY), "not one credential of headset's arrived");
        var other = client.send(get(System.getenv("TRUSTED")), BodyHandlers.ofString());
        must(other.statusCode() == 200, other);
        try {
            client.send(get(System.getenv("UNKNOWN")), BodyHandlers.ofString());
            must(false, "a certificate that nobody vouches for was believed");
        } catch (IOException refused) {
            must(refused.toString().contains("certification path"), refused);
        }
        System.out.println("{\"did\": \"" + version + ": one credential; another site: its own certificate, no credential\"}");
    }
}
