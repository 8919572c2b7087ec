import hashlib
import hmac
import os
from typing import Annotated

from fastapi import Depends, FastAPI, Header, HTTPException
from pydantic import BaseModel
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.database import Note, engine

app = FastAPI()
SECRET = os.environ["SECRET"].encode()


class Login(BaseModel):
    name: str
    password: str


class Written(BaseModel):
    words: str


def token_of(name: str) -> str:
    return f"{name}.{hmac.new(SECRET, name.encode(), hashlib.sha256).hexdigest()}"


def author(authorization: Annotated[str, Header()]) -> str:
    token = authorization.removeprefix("Bearer ")
    name = token.partition(".")[0]
    if not hmac.compare_digest(token, token_of(name)):
        raise HTTPException(401)
    return name


def session():
    with Session(engine) as one:
        yield one


@app.post("/login")
def login(given: Login):
    if given.password != "correct horse battery staple":
        raise HTTPException(401)
    return {"token": token_of(given.name)}


@app.get("/notes")
def notes(session: Annotated[Session, Depends(session)]):
    found = session.scalars(select(Note).order_by(Note.id.desc()).limit(20))
    return [{"id": note.id, "author": note.author, "words": note.words} for note in found]


@app.get("/notes/{number}")
def note(number: int, session: Annotated[Session, Depends(session)]):
    found = session.get(Note, number)
    if found is None:
        raise HTTPException(404)
    return {"id": found.id, "author": found.author, "words": found.words}


@app.post("/notes", status_code=201)
def write(
    written: Written,
    author: Annotated[str, Depends(author)],
    session: Annotated[Session, Depends(session)],
):
    new = Note(author=author, words=written.words)
    session.add(new)
    session.commit()
    return {"id": new.id}
