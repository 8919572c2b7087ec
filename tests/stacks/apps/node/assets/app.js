const posts = document.querySelector("#posts");
if (posts) {
  const { listen } = await import("./stream.js");
  listen((post) => {
    const line = document.createElement("li");
    line.textContent = `${post.author}: ${post.words}`;
    posts.prepend(line);
  });
}
