document.querySelector("form").autocomplete = "off";
